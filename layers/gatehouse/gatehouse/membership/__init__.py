"""What a payment makes of a patient: products get their categories, patients their memberships."""
