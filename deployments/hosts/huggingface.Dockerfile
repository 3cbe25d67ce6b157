# Hugging Face Spaces, sdk docker: this file as `Dockerfile` in the Space, and in its README.md:
#   ---
#   title: House prices
#   sdk: docker
#   app_port: 8080
#   ---
# HEDONIC_API_TOKEN is a secret of the Space. The image must be in a registry that the Space can read.
ARG IMAGE=REGISTRY/hedonic-king_county:TAG
FROM ${IMAGE}
USER 1000:1000
