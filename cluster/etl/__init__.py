"""How a production job comes into the ETL environment: read, pinned, translated, and checked."""
