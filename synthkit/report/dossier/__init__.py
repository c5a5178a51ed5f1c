"""The dossier: evidence on synthetic images in the order in which a reviewer asks for it, held against rules that were fixed before."""
