"""What a hostile sender may try: files that are no files, archives that grow, models that crash an interpreter."""
