"""Networks out of the house and in: other programs' files, C, and the check of every one of them.

`bptt.exchange.doors` has what users call: `export`, `check`, `read`, `from_torch`, `to_torch`.

A network on its way is a `bptt.exchange.model.Model`: weights in float32 and all that a file may
need besides. A format has three sides, written apart so that one finds the others' mistakes:

    write(model) -> bytes     from our layout to the format's
    play(bytes)  -> Player    runs the file by the equations of the format's own documents
    read(bytes)  -> Model     from the format's layout to ours

What is written is played and compared with the network; what is read is compared with its player.
"""
