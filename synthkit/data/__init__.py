"""Reading: DICOM, image files, NIfTI, arrays and the catalog, each into a `Cohort`."""
