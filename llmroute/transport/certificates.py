"""Trusted certificates: those that the environment names, else the system's, else those of certifi."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

from llmroute.errors import UnreachableError

# Locations in Linux distributions, beside those compiled into OpenSSL: https://go.dev/src/crypto/x509/root_linux.go
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def tls_context() -> ssl.SSLContext:
    """Return a TLS context for clients, which trusts the files in SSL_CERT_FILE and SSL_CERT_DIR where one is set.

    Raises:
        UnreachableError: these files cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        try:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
        except OSError as error:
            raise UnreachableError(
                f"the certificates that the environment names cannot be read: {error.strerror or error}",
                hint="check SSL_CERT_FILE and SSL_CERT_DIR, or unset them",
            ) from error
    if sys.platform in ("darwin", "win32"):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Elsewhere truststore reads the same files again at each connection: 20 ms of the event loop.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if _openssl_has_certificates():
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(_bundle())
    return context


def no_tls_context() -> ssl.SSLContext:
    """Return a TLS context without certificates, for clients of plain http; loading certificates takes 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _openssl_has_certificates() -> bool:
    known = ssl.get_default_verify_paths()
    folder = Path(known.capath) if known.capath else None
    return bool(known.cafile or (folder and any(folder.glob("*.[0-9]"))))


def _bundle() -> str:
    """Return the file with the system's certificates, else that of certifi."""
    import certifi

    return next((path for path in _BUNDLES if os.access(path, os.R_OK)), None) or certifi.where()
