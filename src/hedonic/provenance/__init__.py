"""Provenance: from an answer, or a verdict, back to rows, study, code and commit; and there again."""
