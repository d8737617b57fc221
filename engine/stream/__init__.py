"""The artifact as bytes: its clear header, compression, and the pipeline that moves them in bounded memory."""
