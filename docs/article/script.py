import numpy as np
import torch
import torch.utils.data as Data
from torch import nn, optim

train_x = np.zeros(shape=(100, 10, 1))
train_y = np.zeros(shape=(100, 10))
for step in range(100):
    start, end = step * np.pi, (step + 1) * np.pi
    steps = np.linspace(start, end, 10, dtype=np.float32)
    train_x[step, :, 0] = np.sin(steps)
    train_y[step, :] = np.cos(steps)
train_x = torch.from_numpy(train_x)
train_y = torch.from_numpy(train_y)

torch_dataset = Data.TensorDataset(train_x, train_y)
loader = Data.DataLoader(dataset=torch_dataset, batch_size=32, shuffle=True, num_workers=2)


class GRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=16, num_layers=1, batch_first=True)
        self.linear = nn.Linear(16, 10)

    def forward(self, x):
        out, h_t = self.gru(x)
        out = out[:, -1, :]
        out = self.linear(out)
        return out


model = GRU()
criterion = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(100):
    for step, (batch_x, batch_y) in enumerate(loader):
        x = batch_x.float()
        y = batch_y.float()
        output = model(x)
        loss = criterion(output, y)
        model.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()
    if epoch:
        print("Epoch: ", epoch, "| Loss: ", loss.item())

pre = model(train_x.float())
