# What the official image's entry does with /etc/nginx/templates, no more: the variables whose names match
# NGINX_ENVSUBST_FILTER are put in, and the file goes to /etc/nginx/conf.d.
set -euo pipefail
known=$(env | cut -d= -f1 | grep -E "${NGINX_ENVSUBST_FILTER:-}" | sed 's/.*/${&}/')
for template in /etc/nginx/templates/*.template; do
  envsubst "$known" <"$template" >"/etc/nginx/conf.d/$(basename "$template" .template)"
done
exec "$@"
