"""HTTP to and from providers, on httpx: a blocking and an asynchronous sender over the same requests.

No retries, no redirects: what to do next is decided by the caller.  The only importer of httpx.
"""
