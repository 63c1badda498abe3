"""What `meshgen doctor` looks at, by subject. Each check says what it found, and what to do if that is not well."""
