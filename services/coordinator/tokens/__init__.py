"""Access tokens: named, of a role, expiring, revocable. Who a request is from, and what that role may do."""
