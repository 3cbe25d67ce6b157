# Stands in for nginx:1.28 where no registry is reached: Debian's nginx behind the same entry and with the
# same /etc/nginx/nginx.conf.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends nginx-light gettext-base \
 && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled /etc/nginx/conf.d/* \
 && ln -sf /dev/stdout /var/log/nginx/access.log \
 && ln -sf /dev/stderr /var/log/nginx/error.log
COPY nginx.conf /etc/nginx/nginx.conf
COPY nginx.sh /usr/local/bin/entry
STOPSIGNAL SIGQUIT
ENTRYPOINT ["bash", "/usr/local/bin/entry"]
CMD ["nginx", "-g", "daemon off;"]
