"""The operator's dashboard: pages, their fragments, and the live connection of each tab."""
