"""Maps of what a network looks at, and measures of how trustworthy they are."""
