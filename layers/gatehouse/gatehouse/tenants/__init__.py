"""Tenants: customers with a Postgres of their own. It is made by a job, asked over HTTP, metered, and removed."""
