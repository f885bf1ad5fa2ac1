"""Reading datasets, looking at them, and drawing the samples that agents are trained on."""
