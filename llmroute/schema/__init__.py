"""JSON Schemas for answers: read, derived for each provider, and answers checked against them.  Pure.

`answer_schema` reads what the caller gives, `vendor_forms` derives what a provider is asked for, `document` reads the
answer, and `repair` words the request to correct one.
"""
