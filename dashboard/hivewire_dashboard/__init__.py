"""The dashboard: files for browsers in `static`, which the gateway serves below `/dashboard/`. There is no code here."""
