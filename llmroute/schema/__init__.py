"""JSON Schemas for answers: read, derived for each provider, and answers checked against them.  Pure.

`answer_schema` reads the caller's schema, `vendor_forms` derives the form for a provider, `document` reads the
answer, and `repair` words the request to correct one.
"""
