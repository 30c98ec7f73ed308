"""All that an author of a method reads: hooks, options, context, overrides, and the checks of a method's class."""
