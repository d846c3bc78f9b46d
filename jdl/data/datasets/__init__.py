"""Ready-made tasks: bundled with scikit-learn, generated, or fetched from OpenML."""
