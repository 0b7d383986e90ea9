"""HTTP to and from providers, on httpx: a blocking and an asynchronous sender for the same requests.

No retries, no redirects: the caller decides the next step.  The only importer of httpx.
"""
