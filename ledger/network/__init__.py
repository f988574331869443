"""A network of Besu validators (QBFT) for a chain that no single party can change: keys, genesis block,
permissions and services, written as a folder of files. Besu itself is not run here.
"""
