"""The environments and the actor that plays them."""
