"""Who may do what: users, sessions, second factors, tokens, roles, and the trail of what was done."""
