"""Radiomic features of whole batches: first order, GLCM, GLRLM, GLSZM, GLDM and NGTDM as pyradiomics defines and names them."""
from synthkit.metrics.radiomics.extractor import radiomic_features
from synthkit.metrics.radiomics.table import radiomics

__all__ = ["radiomic_features", "radiomics"]
