"""The dashboard: files for browsers in `static`, which the gateway serves below `/dashboard/`. Nothing here runs."""
