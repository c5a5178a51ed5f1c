"""Bias audits: figures per group with intervals, gaps tested against chance, and edits that ask what the attribute itself does."""
