"""What can be asked and pushed, one noun a file: requests, replies and pushes as structs."""
