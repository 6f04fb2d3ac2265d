"""Issue, check and revoke certificates; nothing here sends codes or opens customers' sealed data."""
