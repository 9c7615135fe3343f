"""The network: U-Net, query decoder, mask head, and options of later releases."""
