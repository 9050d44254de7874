"""Pure tensor functions with two or more users. Import from the files: `limbeck.numerics.transport`, say."""
