"""Forms in which attempts leave the ledger: tables in files, charges of FOCUS, spans and metrics of OpenTelemetry."""
