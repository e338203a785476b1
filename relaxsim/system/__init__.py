"""What is simulated: energy, mobility, domain, grid and initial law. No time stepping here."""
