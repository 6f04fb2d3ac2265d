"""For relying parties, in front of the framework: OCSP, CRLs, CA certificates, time-stamps."""
