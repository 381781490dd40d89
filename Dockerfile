# docker build -t transfer-utils .
# docker run --rm -p 127.0.0.1:8888:8888 transfer-utils     prints the address of JupyterLab; add -v course:/home/learner
#                                                           to keep what you change
FROM python:3.12-slim

WORKDIR /src
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-build-isolation --no-deps . && rm -rf /src/*

RUN useradd --create-home learner
USER learner
WORKDIR /home/learner
RUN transfer-utils notebooks .

EXPOSE 8888
# All interfaces of the container; only the host's own port is published by the command above. The address has a token.
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks/01_data_preparation.ipynb"]
