"""Proof that quality control refuses no one for being ill: lesions and wrong contrasts set into healthy scans."""
