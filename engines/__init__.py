"""From checkpoint to shipped model: export, quantize."""
