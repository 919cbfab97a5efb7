"""The embedded Postgres and its supervisor."""
