# The project in /project with its environment: `docker build --tag quadrature .`, then `docker run quadrature make repro`.
# docs/scaling.md runs this image on a cluster, .devcontainer/ in an editor.
FROM python:3.13-slim

RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*

WORKDIR /project

# The environment is a layer of its own: only a change of these files makes it again.
COPY Makefile pyproject.toml constraints.txt ./
RUN make environment

COPY . .

CMD ["make", "repro"]
