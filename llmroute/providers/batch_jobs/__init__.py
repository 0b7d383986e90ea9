"""The batch APIs of the providers: requests rendered, responses and result lines parsed.  Nothing here does I/O."""
