"""The server (VTN): registers VENs, publishes events, receives opts and reports."""
