"use strict";
// The page's data: the network, its weights as base64 of float32, least squares, and the task.
const data = JSON.parse(document.getElementById("data").textContent);
const { model, length, scale, task } = data;
const weights = Object.fromEntries(Object.entries(data.weights).map(([name, text]) => [name, decode(text)]));

function decode(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return Float64Array.from(new Float32Array(bytes.buffer));
}

// The network, as torch defines its layers.

function affine(name, layer, x) {
  const matrix = weights[`${name}.weight${layer}`], bias = weights[`${name}.bias${layer}`];
  const rows = matrix.length / x.length, result = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = bias ? bias[row] : 0;
    for (let column = 0; column < x.length; column++) sum += matrix[row * x.length + column] * x[column];
    result[row] = sum;
  }
  return result;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

const cells = {
  rnn({ hidden }, given, kept) {
    const act = model.nonlinearity === "relu" ? (x) => Math.max(0, x) : Math.tanh;
    return { hidden: hidden.map((_, i) => act(given[i] + kept[i])) };
  },
  gru({ hidden }, given, kept) {
    const size = hidden.length;
    return {
      hidden: hidden.map((before, i) => {
        const reset = sigmoid(given[i] + kept[i]), update = sigmoid(given[size + i] + kept[size + i]);
        const candidate = Math.tanh(given[2 * size + i] + reset * kept[2 * size + i]);
        return (1 - update) * candidate + update * before;
      }),
    };
  },
  lstm({ hidden, memory }, given, kept) {
    const size = hidden.length, gate = (number, i) => given[number * size + i] + kept[number * size + i];
    const next = memory.map(
      (before, i) => sigmoid(gate(1, i)) * before + sigmoid(gate(0, i)) * Math.tanh(gate(2, i))
    );
    return { hidden: next.map((value, i) => sigmoid(gate(3, i)) * Math.tanh(value)), memory: next };
  },
};

// Returns the states of a layer in one direction, in the order of the samples, and its final state.
function run(samples, layer) {
  const zeros = new Float64Array(model.hidden_size), order = samples.map((_, index) => index);
  if (layer.endsWith("_reverse")) order.reverse();
  let state = { hidden: zeros, memory: zeros };
  const states = [];
  for (const index of order) {
    const given = affine(model.cell, `_ih_${layer}`, samples[index]);
    state = cells[model.cell](state, given, affine(model.cell, `_hh_${layer}`, state.hidden));
    states[index] = state.hidden;
  }
  return { states, final: state.hidden };
}

// Returns the components of the analytic signal of a window: the in-phase one, if the network has it, and the quadrature.
function estimate(window) {
  let samples = Array.from(window, (value) => Float64Array.of(value / scale)), finals = [];
  for (let number = 0; number < model.num_layers; number++) {
    const runs = [`l${number}`, ...(model.bidirectional ? [`l${number}_reverse`] : [])].map((name) => run(samples, name));
    samples = samples.map((_, index) => Float64Array.from(runs.flatMap((each) => [...each.states[index]])));
    finals = runs.flatMap((each) => [...each.final]);
  }
  const read = (state) => Array.from(affine("linear", "", state), (value) => value * scale);
  if (model.head === "last") {
    const all = read(Float64Array.from(finals));
    return model.output === "analytic" ? [all.slice(0, length), all.slice(length)] : [null, all];
  }
  const each = samples.map(read);
  return model.output === "analytic" ? [each.map((pair) => pair[0]), each.map((pair) => pair[1])] : [null, each.map((one) => one[0])];
}

// The baselines. The transform of a window delays each of its frequencies by a quarter turn.

const kernel = Array.from({ length }, (_, shift) => {
  let sum = 0;
  for (let k = 1; k < length / 2; k++) sum += (2 / length) * Math.sin((2 * Math.PI * k * shift) / length);
  return sum;
});
const hilbert = (window) =>
  window.map((_, n) => -window.reduce((sum, sample, m) => sum + sample * kernel[(n - m + length) % length], 0));
const leastSquares = (window) =>
  data.least_squares && data.least_squares.map(([constant, ...row]) => row.reduce((sum, factor, i) => sum + factor * window[i], constant));

// The signal. Noise stays the same until it is drawn again, so that only what a slider changes moves.

const sliders = Object.fromEntries(["phase", "frequency", "amplitude", "noise", "offset"].map((id) => [id, document.getElementById(id)]));
// Browsers round a slider's value to its steps: its middle would be 8e-17.
const read = (slider) => (Math.abs(slider.value) < 1e-9 * slider.max ? 0 : Number(slider.value));
let noise = [];

function drawNoise() {
  noise = Array.from({ length }, () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}

function signal() {
  const [phase, frequency, amplitude, spread, offset] = Object.values(sliders).map(read);
  const angle = (position) => (phase * Math.PI) / 180 + (frequency * task.unit_angle * position) / (length - 1);
  const at = (count, wave) => Array.from({ length: count }, (_, i) => amplitude * wave(angle((i * (length - 1)) / (count - 1))));
  const samples = at(length, Math.sin).map((value, i) => value + offset + spread * noise[i]);
  return { samples, sine: at(400, Math.sin), cosine: at(400, Math.cos), truth: at(length, Math.cos), angle, amplitude };
}

// The pictures and the figures.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
const least = 1.3 * Math.max(Number(sliders.amplitude.max), 1e-30);

// The end of the vertical axis: grows by halves, so that it seldom changes while a slider moves.
const reach = (...lines) => Math.max(least, (least / 2) * Math.ceil((2.1 * Math.max(...lines.flat().map(Math.abs))) / least));

function panel(id, limit) {
  const canvas = document.getElementById(id), ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const [left, right, top, bottom] = [52, width - 10, 10, height - 38];
  const x = (share) => left + (right - left) * (0.03 + 0.94 * share), y = (value) => (top + bottom) / 2 - ((bottom - top) / 2) * (value / limit);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("quiet");
  context.strokeStyle = colour("line");
  context.textAlign = "right";
  for (const share of [-0.75, 0, 0.75]) {
    const value = Number((share * limit).toPrecision(1));
    context.beginPath(); context.moveTo(left, y(value)); context.lineTo(right, y(value)); context.stroke();
    context.fillText(value.toString(), left - 6, y(value) + 4);
  }
  context.textAlign = "center";
  for (const share of [0, 0.5, 1]) context.fillText((share * task.end).toPrecision(3), x(share), bottom + 16);
  context.fillText(task.label, (left + right) / 2, bottom + 32);
  return {
    line(values, name, dashes, width) {
      context.setLineDash(dashes); context.lineWidth = width; context.strokeStyle = colour(name);
      context.beginPath();
      values.forEach((value, i) => context[i ? "lineTo" : "moveTo"](x(i / (values.length - 1)), y(value)));
      context.stroke();
    },
    dots(values, name) {
      context.fillStyle = colour(name);
      values.forEach((value, i) => { context.beginPath(); context.arc(x(i / (values.length - 1)), y(value), 4, 0, 7); context.fill(); });
    },
  };
}

const rms = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
const put = (id, text) => { document.getElementById(id).textContent = text; };

function draw() {
  const { samples, sine, cosine, truth, angle, amplitude } = signal();
  const [inPhase, quadrature] = estimate(samples), others = { hilbert: hilbert(samples), least_squares: leastSquares(samples) };
  const limit = reach(samples, sine, inPhase || [], quadrature, others.hilbert, others.least_squares || []);
  const given = panel("given", limit), asked = panel("asked", limit);
  given.line(sine, "grey", [], 1);
  given.dots(samples, "ink");
  if (inPhase) given.line(inPhase, "orange", [7, 4], 2.5);
  asked.line(cosine, "blue", [], 2);
  asked.line(others.hilbert, "grey", [2, 3], 1.5);
  if (others.least_squares) asked.line(others.least_squares, "green", [8, 3, 2, 3], 2);
  asked.line(quadrature, "orange", [7, 4], 2.5);
  for (const [id, slider] of Object.entries(sliders)) {
    const seen = task.seen[id], value = read(slider);
    put(`${id}-value`, value.toPrecision(3));
    document.getElementById(`${id}-value`).classList.toggle("unseen", Boolean(seen) && (value < seen[0] || value > seen[1]));
  }
  for (const [id, values] of Object.entries({ network: quadrature, ...others }))
    if (values) put(`${id}-error`, rms(values.map((value, i) => value - truth[i])).toPrecision(2));
  const turned = quadrature.map((value, i) => {
    const difference = Math.atan2((inPhase || samples)[i], value) - angle(i);
    return (180 / Math.PI) * Math.atan2(Math.sin(difference), Math.cos(difference));
  });
  put("phase-error", amplitude ? `${rms(turned).toPrecision(2)}°` : "none");
  put("amplitude-found", (quadrature.reduce((sum, value, i) => sum + Math.hypot(value, (inPhase || samples)[i]), 0) / length).toPrecision(3));
}

let moving = false;
function frame() {
  if (!moving) return;
  sliders.phase.value = (Number(sliders.phase.value) + 1) % 360;
  draw();
  requestAnimationFrame(frame);
}
document.getElementById("move").addEventListener("click", (event) => {
  moving = !moving;
  event.currentTarget.setAttribute("aria-pressed", moving);
  event.currentTarget.textContent = moving ? "Stop" : "Move";
  frame();
});
document.getElementById("redraw").addEventListener("click", () => { drawNoise(); draw(); });
document.getElementById("reset").addEventListener("click", () => { for (const slider of Object.values(sliders)) slider.value = slider.defaultValue; draw(); });
for (const slider of Object.values(sliders)) slider.addEventListener("input", draw);
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
window.quadrature = { estimate, hilbert, leastSquares };
drawNoise();
draw();
