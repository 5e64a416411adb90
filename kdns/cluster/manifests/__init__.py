"""A feed of objects out of a folder of manifests, completed by an embedded control plane.

What `kubectl apply -f DIR -R` would take is read from files, and what an API server and its
controllers would add is filled in: namespaces, ClusterIPs, pods with addresses, EndpointSlices.
The filling-in is a pure function of the manifests: no history, no clock, no file order.
"""

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.folder import Loaded, ManifestFolder, load

__all__ = ["Loaded", "ManifestError", "ManifestFolder", "Settings", "load"]
