"""Making task sets: from code, from Spider; and checking them."""
