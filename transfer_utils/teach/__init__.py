"""The pictures that the dashboard's page Teach collects, and the messages between the page and its commands."""
