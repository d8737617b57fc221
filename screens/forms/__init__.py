"""Forms: a sheet that asks for what a destination or a connection needs, tries it for real, and only then saves it."""
