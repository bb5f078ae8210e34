"""Datasets: layouts, labels, samples, and pixels prepared once for all cells.

`classes` (class lists) and `labels` (lists of labels) feed `layouts`, which finds the images and
their ground truth; `sample` draws from them; `recipes` says how an image becomes an input;
`decode` does that to one image and `pixels` to all of them; `arrays` takes inputs as given.
`inputs` holds what both give: `PreparedInputs`.
"""
