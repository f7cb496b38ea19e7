//! What detections come to over time: windows, keys, watermark.
