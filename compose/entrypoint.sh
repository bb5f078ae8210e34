#!/bin/sh
# Starts the harness with the certificates and the pip configuration that Compose mounts as
# secrets; both are empty files where none was named.
set -eu
if [ -s /run/secrets/ca_bundle ]; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle
    export PIP_CERT=/run/secrets/ca_bundle
fi
if [ -s /run/secrets/pip_conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip_conf
fi
exec /opt/app/bin/harness "$@"
